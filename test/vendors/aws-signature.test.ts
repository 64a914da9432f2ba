import { describe, expect, test } from 'vitest'
import { CredentialRefused } from '../../src/core/credential-refused.ts'
import { digest } from '../../src/platform/proving.ts'
import type { VendorRequest } from '../../src/ports.ts'
import { awsKey, awsSignature, type AwsScope } from '../../src/vendors/aws-signature.ts'

/*
 * Requests and signatures of the test suite that AWS publishes for Signature Version 4. Its key, its scope and its time
 * are the same in all of them.
 */

const key = { id: 'AKIDEXAMPLE', secret: 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY' }
const scope: AwsScope = { region: 'us-east-1', service: 'service' }
const atMs = Date.UTC(2015, 7, 30, 12, 36)

function request(method: 'GET' | 'POST', path: string, more: { type?: string; body?: string } = {}): VendorRequest {
  return {
    method,
    url: `https://example.amazonaws.com${path}`,
    headers: more.type === undefined ? {} : { 'content-type': more.type },
    body: new TextEncoder().encode(more.body ?? ''),
    connectMs: 1,
  }
}

function authorization(signed: string, signature: string): string {
  const credential = 'Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request'
  return `AWS4-HMAC-SHA256 ${credential}, SignedHeaders=${signed}, Signature=${signature}`
}

const unreserved = '-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'

test.each([
  ['get-vanilla', request('GET', '/'), '5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31'],
  [
    'get-vanilla-query-order-key-case',
    request('GET', '/?Param2=value2&Param1=value1'),
    'b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500',
  ],
  [
    'get-vanilla-empty-query-key',
    request('GET', '/?Param1=value1'),
    'a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb',
  ],
  [
    'get-unreserved',
    request('GET', `/${unreserved}`),
    '07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f',
  ],
  ['post-vanilla', request('POST', '/'), '5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b'],
])('%s has the signature of the suite', (_, asked, signature) => {
  expect(awsSignature(key, scope).headers(asked, atMs, digest)).toEqual({
    'x-amz-date': '20150830T123600Z',
    authorization: authorization('host;x-amz-date', signature),
  })
})

test('post-x-www-form-urlencoded has the signature of the suite, over its body and its type', () => {
  const asked = request('POST', '/', { type: 'application/x-www-form-urlencoded', body: 'Param1=value1' })
  expect(awsSignature(key, scope).headers(asked, atMs, digest)['authorization']).toBe(
    authorization('content-type;host;x-amz-date', 'ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a'),
  )
})

test('a token of STS is sent and signed, as in post-sts-header-before', () => {
  const sessionToken =
    'AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeoIYRqTflfKD8YUuwthAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA=='
  expect(awsSignature({ ...key, sessionToken }, scope).headers(request('POST', '/'), atMs, digest)).toEqual({
    'x-amz-date': '20150830T123600Z',
    'x-amz-security-token': sessionToken,
    authorization: authorization(
      'host;x-amz-date;x-amz-security-token',
      '85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead',
    ),
  })
})

test('what a path has escaped is escaped once more', () => {
  const signatures = ['/model/a%3A0/converse', '/model/a:0/converse'].map(
    (path) => awsSignature(key, scope).headers(request('POST', path), atMs, digest)['authorization'],
  )
  expect(signatures[0]).not.toBe(signatures[1])
})

test('without a region nothing is signed', () => {
  const { headers } = awsSignature(key, { ...scope, region: undefined })
  expect(() => headers(request('GET', '/'), atMs, digest)).toThrow(CredentialRefused)
})

describe('a key', () => {
  const [id, secret] = ['AKIAIOSFODNN7EXAMPLE', 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY']

  test.each([
    [`${id}:${secret}`, { id, secret }],
    [`${id}:${secret}:IQoJb3JpZ2luX2VjE/+=`, { id, secret, sessionToken: 'IQoJb3JpZ2luX2VjE/+=' }],
  ])('%s is an access key', (text, parts) => {
    expect(awsKey(text)).toEqual(parts)
  })

  test.each(['', 'ABSKQmVkcm9ja0FQSUtleS1leGFtcGxlOjEyMzQ=', 'bedrock-api-key-YmVkcm9jaw==', `${id}:`, `:${secret}`])(
    '%j is none',
    (text) => {
      expect(awsKey(text)).toBeUndefined()
    },
  )
})
