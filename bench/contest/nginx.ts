import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { freePort } from '../../test/db/real-postgres.ts'
import type { Contestant, Setting } from './contestants.ts'
import { startProgram } from './programs.ts'

const fetchMs = 20_000
const startMs = 10_000
const places = ['/usr/sbin/nginx', '/usr/local/sbin/nginx', '/usr/bin/nginx', '/usr/local/bin/nginx']

/** Where nginx is; from the distribution's package, unpacked into `home`, where it is not installed. */
function find(home: string): string {
  const installed = places.find((path) => existsSync(path))
  if (installed !== undefined) return installed
  const quiet = { cwd: home, timeout: fetchMs, stdio: 'ignore' } as const
  try {
    execFileSync('apt-get', ['download', '-q', 'nginx'], quiet)
    const [file = ''] = readdirSync(home).filter((name) => name.endsWith('.deb'))
    execFileSync('dpkg', ['-x', file, 'package'], quiet)
  } catch (error) {
    throw new Error('it is not installed, and the distribution did not give it', { cause: error })
  }
  return join(home, 'package/usr/sbin/nginx')
}

function configOf({ home, port, vendorUrl }: { home: string; port: number; vendorUrl: string }): string {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
  return `${process.getuid?.() === 0 ? 'user root;' : ''}
daemon off;
worker_processes 1;
worker_rlimit_nofile 16384;
pid ${home}/pid;
error_log ${home}/error.log;
events { worker_connections 8192; }
http {
  access_log off;
${temporary.map((name) => `  ${name}_temp_path ${home}/${name};`).join('\n')}
  client_body_buffer_size 1m;
  client_max_body_size 8m;
  keepalive_requests 1000000000;
  tcp_nodelay on;
  upstream vendor {
    server ${new URL(vendorUrl).host};
    keepalive 4096;
    keepalive_requests 1000000000;
  }
  server {
    listen 127.0.0.1:${port} backlog=4096;
    location / {
      proxy_pass http://vendor;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
    }
  }
}
`
}

/** nginx with one worker, which passes everything on without buffers. Throws where it cannot be had. */
export async function startNginx({ vendorUrl, cores }: Setting): Promise<Contestant> {
  const home = mkdtempSync(join(tmpdir(), 'tollgate-nginx-'))
  const remove = () => rmSync(home, { recursive: true, force: true })
  try {
    const command = find(home)
    const port = await freePort()
    const config = join(home, 'nginx.conf')
    writeFileSync(config, configOf({ home, port, vendorUrl }))
    const program = startProgram({ command, args: ['-p', home, '-e', join(home, 'error.log'), '-c', config], cores })
    const stop = async () => {
      await program.stop()
      remove()
    }
    await answers(port).catch(async (error: unknown) => {
      await program.stop()
      throw new Error(`it did not start: ${program.text()}`, { cause: error })
    })
    return { port, pid: program.pid, headers: [], stop }
  } catch (error) {
    remove()
    throw error
  }
}

/** Resolves when something at the port answers, whatever it says. */
export async function answers(port: number, withinMs = startMs): Promise<void> {
  for (const until = Date.now() + withinMs; ; await wait(50)) {
    const found = await fetch(`http://127.0.0.1:${port}/`, { signal: AbortSignal.timeout(1_000) }).catch(
      () => undefined,
    )
    await found?.body?.cancel()
    if (found) return
    if (Date.now() > until) throw new Error(`nothing answers after ${withinMs} ms`)
  }
}
