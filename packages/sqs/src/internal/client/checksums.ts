/**
 * Bodies held against the MD5s that SQS answers with. Where Node has no MD5, as under FIPS, they cannot be; that is said
 * once for each client.
 */
import { hash } from "node:crypto"
import * as Effect from "effect/Effect"

/** A message that SQS gave back or has taken: its body, and the MD5 of it that SQS answered with. */
export type Echo = readonly [id: string | undefined, body: string | undefined, md5: string | undefined]

const isThere = (): boolean => {
  try {
    hash("md5", "")
    return true
  } catch {
    return false
  }
}

const intact = Effect.succeed(undefined)

/** Gives the error that the SDK's own check throws, where a body is not what it was. One call of OpenSSL for a body takes a quarter of its time. */
export const make = (): ((echoes: ReadonlyArray<Echo>) => Effect.Effect<Error | undefined>) => {
  let missing = false

  const isWrong = ([, body = "", md5]: Echo): boolean => {
    try {
      return hash("md5", body) !== md5
    } catch (cause) {
      missing = !isThere()
      if (missing) return false
      throw cause
    }
  }

  return (echoes) => {
    if (missing || echoes.length === 0) return intact
    const wrong = echoes.filter(isWrong)
    if (missing) {
      return Effect.as(
        Effect.logWarning(
          "This Node has no MD5 (FIPS?): bodies are not held against the checksums that SQS answers with. TLS protects them on their way."
        ),
        undefined
      )
    }
    return wrong.length === 0
      ? intact
      : Effect.succeed(new Error(`Invalid MD5 checksum on messages: ${wrong.map(([id]) => id).join(", ")}`))
  }
}
