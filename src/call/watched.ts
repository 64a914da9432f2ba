import type { Place } from '../core/routing.ts'
import type { Counts } from '../core/price.ts'
import type { GatewayError } from '../core/errors.ts'
import type { Listener, Step, VendorAnswer } from './vendor-answer.ts'

/** The same answer, but the figures of its target hear how it goes on: they measure the whole of it. */
export function watched(answer: VendorAnswer, place: Place): VendorAnswer {
  if (answer.kind === 'body') {
    place.ended({ counts: answer.reply.usage?.counts, paced: false })
    return answer
  }
  const seen: Seen = { counts: undefined, isWhole: false, isHeldUp: false }
  const over = (): void => place.ended({ counts: seen.counts, paced: !seen.isHeldUp })
  return {
    ...answer,
    pause() {
      seen.isHeldUp = true
      answer.pause()
    },
    abort() {
      if (seen.isWhole) over()
      else place.left()
      answer.abort()
    },
    attach: (listener) => answer.attach(hearing(listener, { seen, place, over })),
  }
}

interface Seen {
  counts: Counts | undefined
  isWhole: boolean
  /** A slow caller kept the vendor from sending, so that its speed says nothing. */
  isHeldUp: boolean
}

interface Watch {
  readonly seen: Seen
  readonly place: Place
  over(): void
}

function hearing(listener: Listener, { seen, place, over }: Watch): Listener {
  const broke = (error: GatewayError): void => place.failed({ fault: 'down', code: error.code, status: 200 })
  const note = ({ piece }: Step): void => {
    if (piece.usage) seen.counts = piece.usage.counts
    if (piece.whole || piece.last) seen.isWhole = true
    if (piece.error) broke(piece.error)
  }
  return {
    steps(steps) {
      for (const step of steps) note(step)
      listener.steps(steps)
    },
    end() {
      if (seen.isWhole) over()
      else place.failed({ fault: 'down', code: 'vendor_error', status: 200 })
      listener.end()
    },
    fail(error) {
      if (seen.isWhole) over()
      else broke(error)
      listener.fail(error)
    },
  }
}
