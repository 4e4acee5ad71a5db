import { Schema } from "effect"

/**
 * A GitHub webhook as it comes through the queue: the event's name and the delivery's id, which GitHub sends as headers,
 * beside the payload. Of the payload only what the job looks at; organizations' events have no repository.
 */
export const Webhook = Schema.Struct({
  event: Schema.NonEmptyString,
  delivery: Schema.NonEmptyString,
  payload: Schema.Struct({
    action: Schema.optional(Schema.String),
    repository: Schema.optional(Schema.Struct({ full_name: Schema.String }))
  })
})

export interface Webhook extends Schema.Schema.Type<typeof Webhook> {}
