import { type Behaviour, json, type VendorCall } from './vendor.ts'

/** Models of a vendor that has every operation, for `startGateway`: priced by what each operation is priced by. */
export const operationModels = `
  embed:
    operation: embeddings
    targets: [{ vendor: fake, model: vendor-embed }]
    prices: { input: 1 }
  guard:
    operation: moderations
    targets: [{ vendor: fake, model: vendor-guard }]
    prices: { input: 1 }
  ranker:
    operation: rerank
    targets: [{ vendor: fake, model: vendor-ranker }]
    prices: { search: 0.002 }
  painter:
    operation: images
    targets: [{ vendor: fake, model: vendor-painter }]
    prices: { image: 0.04 }
  token-painter:
    operation: images
    targets: [{ vendor: fake, model: vendor-painter }]
    prices: { input: 5, image_input: 10, image_output: 40, output: 0 }
  voice:
    operation: speech
    targets: [{ vendor: fake, model: vendor-voice }]
    prices: { character: 0.000015 }
  ear:
    operation: transcription
    targets: [{ vendor: fake, model: vendor-ear }]
    prices: { second: 0.0001 }
  token-ear:
    operation: transcription
    targets: [{ vendor: fake, model: vendor-ear }]
    prices: { audio_input: 6, input: 2.5, output: 10 }`

/** Vectors that a float32 holds exactly. */
export const vectors = [
  [0.5, -0.25, 1],
  [0.125, 2, -4],
] as const

export function base64Of(vector: readonly number[]): string {
  return Buffer.from(new Float32Array(vector).buffer).toString('base64')
}

/** An embedding for each text, in one format whatever is asked for. */
export function embed(format: 'float' | 'base64', usage?: Record<string, number>): Behaviour {
  return (call, response) => {
    const { input } = call.body
    const count = Array.isArray(input) ? input.length : 1
    const data = vectors.slice(0, count).map((vector, index) => ({
      object: 'embedding',
      index,
      embedding: format === 'float' ? vector : base64Of(vector),
    }))
    json(response, 200, { object: 'list', data, model: 'vendor-embed-2', ...(usage && { usage }) })
  }
}

/** Bytes of a type, in these pieces. */
export function bytes(type: string, pieces: readonly Uint8Array[]): Behaviour {
  return (_, response) => {
    response.writeHead(200, { 'content-type': type })
    for (const piece of pieces) response.write(piece)
    response.end()
  }
}

/** A second of silence: eight thousand samples of a byte, and more of them. */
export function wav(seconds: number): Uint8Array<ArrayBuffer> {
  const rate = 8_000
  const whole = new Uint8Array(44 + seconds * rate)
  const view = new DataView(whole.buffer)
  const write = (at: number, text: string): void => whole.set(new TextEncoder().encode(text), at)
  write(0, 'RIFF')
  view.setUint32(4, whole.length - 8, true)
  write(8, 'WAVEfmt ')
  view.setUint32(16, 16, true)
  view.setUint16(20, 1, true)
  view.setUint16(22, 1, true)
  view.setUint32(24, rate, true)
  view.setUint32(28, rate, true)
  view.setUint16(32, 1, true)
  view.setUint16(34, 8, true)
  write(36, 'data')
  view.setUint32(40, seconds * rate, true)
  return whole.fill(128, 44)
}

/** The form that a vendor got, as another parser reads it. */
export function formOf({ bytes: raw, headers }: VendorCall): Promise<FormData> {
  return new Response(new Uint8Array(raw), { headers: { 'content-type': headers['content-type'] ?? '' } }).formData()
}
