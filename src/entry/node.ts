import { ConfigError } from '../config.ts'
import { run } from './serve.ts'

/** `npm start`: runs the gateway until it is told to stop. */
try {
  const running = await run(process.env, (line) => process.stdout.write(line))
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.once(signal, () => {
      void running.close().then(() => process.exit(0))
    })
  }
} catch (error) {
  // What an operator can mend is said in a sentence; a stack is for bugs.
  process.stderr.write(`${error instanceof ConfigError || error instanceof Error ? error.message : String(error)}\n`)
  process.exit(1)
}
