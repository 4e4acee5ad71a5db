/**
 * Where large bodies are kept beside the queue: the few operations of an object store that `SqsClaimCheck` needs. In
 * memory for tests; `S3ObjectStore` is the one for production.
 */
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"

export interface ObjectId {
  readonly bucket: string
  readonly key: string
}

/** The object is not there: never put, expired or deleted. */
export class ObjectNotFound extends Data.TaggedError("ObjectNotFound")<{
  readonly object: ObjectId
  readonly message: string
}> {}

/** The object has more bytes than the reader takes. */
export class ObjectTooLarge extends Data.TaggedError("ObjectTooLarge")<{
  readonly object: ObjectId
  readonly message: string
}> {}

/** The store could not, or may not: the object itself may be all right. */
export class ObjectStoreError extends Data.TaggedError("ObjectStoreError")<{
  readonly operation: "put" | "get" | "delete"
  readonly object: ObjectId
  /** Whether the same call may succeed in a moment: the network, throttling, an error within the store. */
  readonly retryable: boolean
  readonly message: string
  readonly cause?: unknown
}> {}

/** Objects are text, kept as UTF-8. None of the operations retries by itself. */
export interface Service {
  readonly put: (object: ObjectId, text: string) => Effect.Effect<void, ObjectStoreError>
  /** `maxBytes`: of a larger one no more than that is read. */
  readonly get: (
    object: ObjectId,
    maxBytes: number
  ) => Effect.Effect<string, ObjectNotFound | ObjectTooLarge | ObjectStoreError>
  /** One that is not there is deleted. */
  readonly delete: (object: ObjectId) => Effect.Effect<void, ObjectStoreError>
}

export class ObjectStore extends Context.Tag("@millrace/sqs/ObjectStore")<ObjectStore, Service>() {}

export const notFound = (object: ObjectId): ObjectNotFound =>
  new ObjectNotFound({ object, message: `there is no object ${object.key} in the bucket ${object.bucket}` })

export const tooLarge = (object: ObjectId, maxBytes: number): ObjectTooLarge =>
  new ObjectTooLarge({
    object,
    message: `the object ${object.key} in the bucket ${object.bucket} has more than ${maxBytes} bytes`
  })

/** A store in memory, which can be looked into. */
export interface Memory extends Service {
  /** Texts by `bucket/key`. */
  readonly objects: Effect.Effect<ReadonlyMap<string, string>>
}

export const makeMemory: Effect.Effect<Memory> = Effect.sync(() => {
  const objects = new Map<string, string>()
  const name = ({ bucket, key }: ObjectId) => `${bucket}/${key}`
  return {
    put: (object, text) => Effect.sync(() => objects.set(name(object), text)),
    get: (object, maxBytes) =>
      Effect.suspend((): Effect.Effect<string, ObjectNotFound | ObjectTooLarge> => {
        const text = objects.get(name(object))
        if (text === undefined) return notFound(object)
        return Buffer.byteLength(text) > maxBytes ? tooLarge(object, maxBytes) : Effect.succeed(text)
      }),
    delete: (object) => Effect.sync(() => objects.delete(name(object))),
    objects: Effect.sync(() => new Map(objects))
  }
})

/** For tests. */
export const layerMemory: Layer.Layer<ObjectStore> = Layer.effect(ObjectStore, makeMemory)
