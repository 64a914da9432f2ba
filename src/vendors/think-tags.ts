/** Tells thoughts between `<think>` and `</think>` at the beginning of a text from what is said after them. */
export interface ThinkSplitter {
  push(text: string): Split
  /** What was kept back because it could have been the beginning of a tag. */
  end(): Split
}

export interface Split {
  readonly thought: string
  readonly text: string
}

const opening = '<think>'
const closing = '</think>'
/** White space before the tag; more of it is a text of its own. */
const mostHeld = 64

export function createThinkSplitter(): ThinkSplitter {
  let mode: 'start' | 'thinking' | 'after' | 'text' = 'start'
  let held = ''

  function start(): Split {
    const begun = held.trimStart()
    if (begun.length < opening.length && opening.startsWith(begun) && held.length <= mostHeld)
      return { thought: '', text: '' }
    if (!begun.startsWith(opening)) return flush()
    mode = 'thinking'
    held = begun.slice(opening.length)
    return thinking()
  }
  function thinking(): Split {
    const end = held.indexOf(closing)
    if (end >= 0) {
      const thought = held.slice(0, end)
      held = held.slice(end + closing.length)
      mode = 'after'
      return { thought, text: after().text }
    }
    const kept = overlap(held)
    const thought = held.slice(0, held.length - kept)
    held = held.slice(held.length - kept)
    return { thought, text: '' }
  }
  /** Line breaks between the thought and the text belong to neither. */
  function after(): Split {
    held = held.trimStart()
    if (held === '') return { thought: '', text: '' }
    return flush()
  }
  function flush(): Split {
    const text = held
    held = ''
    mode = 'text'
    return { thought: '', text }
  }

  return {
    push(text) {
      if (mode === 'text') return { thought: '', text }
      held += text
      return mode === 'start' ? start() : mode === 'thinking' ? thinking() : after()
    },
    end() {
      if (mode !== 'thinking') return flush()
      const thought = held
      held = ''
      return { thought, text: '' }
    },
  }
}

/** How many characters at the end of the text may be the beginning of the closing tag. */
function overlap(text: string): number {
  const most = Math.min(text.length, closing.length - 1)
  for (let length = most; length > 0; length--) if (closing.startsWith(text.slice(text.length - length))) return length
  return 0
}
