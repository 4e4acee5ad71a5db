/** What the protocols have in common: a request as it came over HTTP, what it asks for, and the answer to it. */
import type { Operation } from "../../emulator/Fault.js"

export interface Request {
  /** `GET`, `POST`. */
  readonly method: string
  /** Path and query, as sent. */
  readonly path: string
  readonly target: string | undefined
  readonly contentType: string | undefined
  readonly accept: string | undefined
  readonly body: string
}

export interface Call {
  readonly operation: Operation
  /** A record with the names of the JSON protocol. */
  readonly input: unknown
}

export interface Answer {
  readonly status: number
  readonly contentType: string
  readonly body: string
  readonly queryError?: string
}
