import { expect, test } from 'vitest'
import type { Call, Target } from '../../src/core/call.ts'
import { digest } from '../../src/platform/proving.ts'
import type { VendorRequest } from '../../src/ports.ts'
import { bedrockInvoke } from '../../src/vendors/bedrock-invoke.ts'
import { bedrock } from '../../src/vendors/bedrock.ts'
import { translating } from './streams.ts'

const accessKey = 'AKIAIOSFODNN7EXAMPLE:wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY'
const inner = { messages: [{ role: 'user', content: 'hi' }] }
const call: Call = { ...translating.call, body: inner, inner }

function asked(baseUrl: string, more: Partial<Target> = {}, apiKey = accessKey): readonly VendorRequest[] {
  const access = { baseUrl, apiKey, connectMs: 1 }
  const target: Target = { vendor: 'aws', model: 'anthropic.claude-3:0', ...more }
  const counted = [bedrock, bedrockInvoke].map(({ counting }) => counting?.request(call, target, access))
  return [
    bedrock.request(call, target, access, false),
    bedrockInvoke.request(call, target, access, true),
    ...counted.filter((request) => request !== undefined),
  ]
}

/** Region and service of the signature; undefined where nothing is signed. */
function scopeOf(request: VendorRequest): string | undefined {
  if (request.proof?.kind !== 'signature') return undefined
  const { authorization = '' } = request.proof.headers(request, 0, digest)
  return /\/19700101\/(.*)\/aws4_request,/.exec(authorization)?.[1]
}

test.each([
  ['https://bedrock-runtime.us-east-1.amazonaws.com', {}, 'us-east-1/bedrock'],
  ['https://bedrock-runtime-fips.us-gov-west-1.amazonaws.com', {}, 'us-gov-west-1/bedrock'],
  ['https://bedrock-runtime.cn-north-1.amazonaws.com.cn', {}, 'cn-north-1/bedrock'],
  ['https://vpce-1-a.bedrock-runtime.eu-west-1.vpce.amazonaws.com', {}, 'eu-west-1/bedrock'],
  ['https://bedrock-runtime.us-east-1.amazonaws.com', { region: 'eu-west-1' }, 'us-east-1/bedrock'],
  ['https://proxy.test', { region: 'eu-central-1' }, 'eu-central-1/bedrock'],
])('at %s, for the target %j, everything is signed for %s', (baseUrl, target, scope) => {
  expect(asked(baseUrl, target).map(scopeOf)).toEqual([scope, scope, scope, scope])
})

test.each([{}, { region: 'eu' }])(
  'at an address without a region, for the target %j, nothing can be signed',
  (target) => {
    const [request] = asked('https://proxy.test', target)
    expect(() => request && scopeOf(request)).toThrow('names a region')
  },
)

test('an access key is never sent itself', () => {
  const requests = asked('https://bedrock-runtime.us-east-1.amazonaws.com')
  expect(requests.map(({ headers }) => headers['authorization'])).toEqual([undefined, undefined, undefined, undefined])
})

test('a Bedrock API key is a bearer token, and nothing is signed', () => {
  const requests = asked('https://bedrock-runtime.us-east-1.amazonaws.com', {}, 'ABSKQmVkcm9jaw==')
  expect(requests.map(({ headers, proof }) => [headers['authorization'], proof])).toEqual(
    requests.map(() => ['Bearer ABSKQmVkcm9jaw==', undefined]),
  )
})
