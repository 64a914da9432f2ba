import { systemProving } from '../../src/platform/proving.ts'

/** Runs inside the runtime: makes proofs of what it is sent. */
export default {
  async fetch(request: Request): Promise<Response> {
    const { privateKey, text } = (await request.json()) as { readonly privateKey: string; readonly text: string }
    const { digest, signRs256 } = systemProving
    const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')
    return Response.json({
      hash: hex(digest.sha256(new TextEncoder().encode(text))),
      keyed: hex(digest.hmacSha256(digest.hmacSha256('key', text), text)),
      signature: await signRs256(privateKey, text),
    })
  },
}
