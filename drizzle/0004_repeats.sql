CREATE TABLE "cached_answer" (
	"name" text PRIMARY KEY NOT NULL,
	"answer" text NOT NULL,
	"until" timestamp (3) with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "repeat" (
	"name" text PRIMARY KEY NOT NULL,
	"owner" text NOT NULL,
	"digest" text NOT NULL,
	"answer" text,
	"until" timestamp (3) with time zone NOT NULL
);
--> statement-breakpoint
CREATE INDEX "cached_answer_until" ON "cached_answer" USING btree ("until");--> statement-breakpoint
CREATE INDEX "repeat_until" ON "repeat" USING btree ("until");