import { defineConfig } from 'drizzle-kit'

/** `drizzle-kit generate` writes to drizzle/; then `node scripts/migrations.ts` carries it into src/db/migrations.ts. */
export default defineConfig({
  dialect: 'postgresql',
  schema: './src/db/schema.ts',
  out: './drizzle',
})
