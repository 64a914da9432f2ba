ALTER TABLE "price_set" ADD COLUMN "rates" jsonb DEFAULT '[]'::jsonb NOT NULL;--> statement-breakpoint
ALTER TABLE "price_set" ADD COLUMN "conversion" jsonb;--> statement-breakpoint
ALTER TABLE "usage_record" ADD COLUMN "service_tier" text;--> statement-breakpoint
ALTER TABLE "usage_record" ADD COLUMN "length_tier" bigint;