/*
 * Loaded into a gateway before it starts: notes the longest that its event loop stood still, by the clock and by the CPU
 * that its thread used meanwhile. The second hangs little on what else the machine does. Told SIGUSR2 it prints both and
 * begins anew.
 */
const tickMs = 1
const usPerMs = 1_000

let lastMs = performance.now()
let lastUs = cpuUs()
let most = { wallMs: 0, cpuMs: 0 }

function cpuUs(): number {
  const { user, system } = process.threadCpuUsage()
  return user + system
}

setInterval(() => {
  const nowMs = performance.now()
  const nowUs = cpuUs()
  most = {
    wallMs: Math.max(most.wallMs, nowMs - lastMs - tickMs),
    cpuMs: Math.max(most.cpuMs, (nowUs - lastUs) / usPerMs),
  }
  lastMs = nowMs
  lastUs = nowUs
}, tickMs).unref()

process.on('SIGUSR2', () => {
  process.stdout.write(`gap ${most.wallMs.toFixed(1)} ${most.cpuMs.toFixed(1)}\n`)
  most = { wallMs: 0, cpuMs: 0 }
})
