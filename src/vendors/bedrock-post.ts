import type { Target } from '../core/call.ts'
import type { VendorRequest } from '../ports.ts'
import { awsKey, awsSignature } from './aws-signature.ts'
import { jsonPost, type JsonPost } from './json-post.ts'

/** The service's name in a signature, whichever of its endpoints is asked. */
const service = 'bedrock'
/** `bedrock-runtime.REGION.amazonaws.com`, and as it is called with FIPS, in China, or over an interface of a VPC. */
const regionInHost = /(?:^|\.)bedrock-runtime(?:-fips)?\.(?<region>[a-z0-9-]+)\.(?:vpce\.)?amazonaws\.com(?:\.cn)?$/
/** A target's `region` is the operator's own word, which may be one of AWS. */
const regionOfAws = /^[a-z]{2}(?:-[a-z]+){1,3}-\d{1,2}$/

/**
 * A request to Bedrock: with a Bedrock API key as its bearer token, or signed where the key is an access key,
 * `ID:SECRET` or `ID:SECRET:SESSION_TOKEN`. It is signed for the region of the address, else for that of the target.
 */
export function bedrockPost(target: Target, post: JsonPost): VendorRequest {
  const { access } = post
  const key = awsKey(access.apiKey)
  if (!key) return jsonPost(post)
  const proof = awsSignature(key, { region: regionOf(access.baseUrl, target), service })
  return { ...jsonPost({ ...post, access: { ...access, apiKey: '' } }), proof }
}

function regionOf(baseUrl: string, { region }: Target): string | undefined {
  const told = regionInHost.exec(URL.parse(baseUrl)?.hostname ?? '')?.groups?.['region']
  return told ?? (regionOfAws.test(region ?? '') ? region : undefined)
}
