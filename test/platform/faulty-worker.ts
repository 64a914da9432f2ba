import { parentPort } from 'node:worker_threads'
import type { FromWorker, ToWorker } from '../../src/platform/tokenizer-worker.ts'

/** A tokenizer's worker that misbehaves on demand; else every text has 1,000 tokens. */
parentPort?.on('message', (message: ToWorker) => {
  const counts: [id: number, tokens: number][] = []
  for (const [id, text] of message.texts) {
    if (text === 'exit') process.exit(3)
    if (text === 'throw') throw new Error('broken on purpose')
    if (text === 'hang') for (;;);
    if (text !== 'forget') counts.push([id, 1_000])
  }
  parentPort?.postMessage(counts satisfies FromWorker)
})
parentPort?.postMessage('ready' satisfies FromWorker)
