CREATE TABLE "vendor_key" (
	"id" bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY (sequence name "vendor_key_id_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"vendor" text NOT NULL,
	"name" text NOT NULL,
	"sealed" text NOT NULL,
	"models" text[] DEFAULT '{}' NOT NULL,
	"scenarios" text[] DEFAULT '{}' NOT NULL,
	"priority" text DEFAULT 'normal' NOT NULL,
	"region" text,
	"disabled" boolean DEFAULT false NOT NULL,
	"created_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "vendor_key_name" UNIQUE("vendor","name"),
	CONSTRAINT "vendor_key_priority" CHECK ("vendor_key"."priority" in ('vip', 'normal', 'test'))
);
--> statement-breakpoint
ALTER TABLE "model" ADD COLUMN "routing" jsonb DEFAULT '{}'::jsonb NOT NULL;--> statement-breakpoint
ALTER TABLE "target" ADD COLUMN "options" jsonb DEFAULT '{}'::jsonb NOT NULL;--> statement-breakpoint
ALTER TABLE "vendor_key" ADD CONSTRAINT "vendor_key_vendor_vendor_id_fk" FOREIGN KEY ("vendor") REFERENCES "public"."vendor"("id") ON DELETE no action ON UPDATE no action;