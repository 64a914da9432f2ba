import { chat } from './chat.ts'
import { completions } from './completions.ts'
import { embeddings } from './embeddings.ts'
import type { Front } from './front.ts'
import { generateEmbed } from './generate-embed.ts'
import { generate } from './generate.ts'
import { imageEdits, images } from './images.ts'
import { messages } from './messages.ts'
import { moderations } from './moderations.ts'
import { rerank } from './rerank.ts'
import { responses } from './responses.ts'
import { speech } from './speech.ts'
import { transcriptions, translations } from './transcriptions.ts'

/** Every dialect of callers. A new one is one line. */
export const fronts: readonly Front[] = [
  chat,
  completions,
  responses,
  messages,
  generate,
  generateEmbed,
  embeddings,
  moderations,
  rerank,
  images,
  imageEdits,
  speech,
  transcriptions,
  translations,
]

/** The dialect in which an error under this path is told: that of the longest prefix. */
export function frontFor(path: string): Front {
  let best: { readonly front: Front; readonly length: number } = { front: chat, length: 0 }
  for (const front of fronts) {
    for (const prefix of front.prefixes) {
      if (path.startsWith(prefix) && prefix.length > best.length) best = { front, length: prefix.length }
    }
  }
  return best.front
}
