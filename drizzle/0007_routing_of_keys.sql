ALTER TABLE "api_key" ADD COLUMN "routing" jsonb DEFAULT '{}'::jsonb NOT NULL;--> statement-breakpoint
ALTER TABLE "model" ADD COLUMN "cache" jsonb DEFAULT '{}'::jsonb NOT NULL;