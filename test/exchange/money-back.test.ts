import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { chat } from '../support/chat.ts'
import { managementKey, startGateway, type TestGateway } from '../support/gateway.ts'
