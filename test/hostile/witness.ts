import { monitorEventLoopDelay } from 'node:perf_hooks'

/*
 * Loaded into a gateway's process before it: tells on standard error what a caller cannot see. `gap` is the longest
 * time in ms for which nothing else ran since the line before, then the resident memory in MB.
 */

const tellMs = 100

process.on('unhandledRejection', (reason) => process.stderr.write(`unhandled ${String(reason)}\n`))
process.on('warning', ({ name }) => process.stderr.write(`warned ${name}\n`))

const delay = monitorEventLoopDelay({ resolution: 2 })
delay.enable()
setInterval(() => {
  process.stderr.write(`gap ${Math.round(delay.max / 1e6)} ${Math.round(process.memoryUsage.rss() / 1e6)}\n`)
  delay.reset()
}, tellMs).unref()
