/**
 * AWS Signature Version 4 for calls with a small body, always with the same headers, as SQS's are. It takes a quarter of
 * the time of the SDK's signer, which is for all of AWS.
 *
 * @see https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
 */
import { createHmac, createSecretKey, hash, type KeyObject } from "node:crypto"
import * as DateTime from "effect/DateTime"

export interface Credentials {
  readonly accessKeyId: string
  readonly secretAccessKey: string
  readonly sessionToken?: string | undefined
}

/** What of a request is signed, and what it is signed in. */
export interface Signable {
  readonly headers: Record<string, string>
  readonly body?: string | Uint8Array | undefined
  /** As it stands in the request. Default `/`. */
  readonly path?: string | undefined
  /** Default `POST`. */
  readonly method?: string | undefined
  /** Encoded, and in the order of its names. Default: none. */
  readonly query?: string | undefined
}

const hmac = (key: string | Buffer, data: string): Buffer => createHmac("sha256", key).update(data).digest()

/** As in `20260102T030405Z`. */
const stamp = (millis: number): string => DateTime.formatIso(DateTime.unsafeMake(millis)).replace(/-|:|\.\d+/g, "")

/** By their code points, as they must stand in the signature; the token only where there is one. */
const signed = ["content-type", "host", "x-amz-date", "x-amz-security-token", "x-amz-target"]

/** A path is encoded once more for its signature, as everywhere but in S3. */
const canonical = (path: string): string => (path === "/" ? path : path.split("/").map(encodeURIComponent).join("/"))

/** No key has any of these; a header with one cannot be sent, and a signature with one is refused as wrong. */
const foreign = /[^\x21-\x7e]/

/** Throws where credentials are none as they stand. */
const check = ({ accessKeyId, secretAccessKey, sessionToken = "" }: Credentials): void => {
  const fields = { accessKeyId, secretAccessKey, sessionToken }
  for (const [name, value] of Object.entries(fields)) {
    if (!foreign.test(value)) continue
    throw Object.assign(new Error(`${name} has a character that no credentials have`), { name: "MalformedCredentials" })
  }
}

/**
 * Writes the headers `x-amz-date`, `x-amz-security-token` and `authorization`. A key of signing is kept for its day, and what
 * was found right of credentials, for as long as they are the same.
 */
export const make = (service = "sqs") => {
  let kept: { readonly secret: string; readonly scope: string; readonly key: KeyObject } | undefined
  let checked: Credentials | undefined

  const keyOf = (secret: string, day: string, region: string, scope: string): KeyObject => {
    if (kept?.secret !== secret || kept.scope !== scope) {
      const key = hmac(hmac(hmac(hmac(`AWS4${secret}`, day), region), service), "aws4_request")
      kept = { secret, scope, key: createSecretKey(key) }
    }
    return kept.key
  }

  return (
    { body = "", headers, method = "POST", path = "/", query = "" }: Signable,
    credentials: Credentials,
    region: string,
    millis: number
  ): void => {
    if (checked !== credentials) {
      check(credentials)
      checked = credentials
    }
    const time = stamp(millis)
    const day = time.slice(0, 8)
    const scope = `${day}/${region}/${service}/aws4_request`
    headers["x-amz-date"] = time
    if (credentials.sessionToken !== undefined) headers["x-amz-security-token"] = credentials.sessionToken
    const names = signed.filter((name) => headers[name] !== undefined)
    const lines = names.map((name) => `${name}:${headers[name]}\n`).join("")
    const list = names.join(";")
    const request = hash(
      "sha256",
      `${method}\n${canonical(path)}\n${query}\n${lines}\n${list}\n${hash("sha256", body)}`
    )
    const signature = createHmac("sha256", keyOf(credentials.secretAccessKey, day, region, scope))
      .update(`AWS4-HMAC-SHA256\n${time}\n${scope}\n${request}`)
      .digest("hex")
    headers["authorization"] =
      `AWS4-HMAC-SHA256 Credential=${credentials.accessKeyId}/${scope}, SignedHeaders=${list}, Signature=${signature}`
  }
}
