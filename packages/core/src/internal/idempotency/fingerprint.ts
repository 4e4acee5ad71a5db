import { sha256 } from "../data/sha256.js"

/** The same for equal values, whatever the order of their properties: what JSON keeps of them counts. */
export const fingerprint = (value: unknown): string => sha256(JSON.stringify(value, canonical) ?? "")

const canonical = (_: string, value: unknown): unknown => {
  if (typeof value === "bigint") return `${value}n`
  if (value instanceof Map || value instanceof Set) return [...value]
  if (typeof value !== "object" || value === null || Array.isArray(value)) return value
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
}

/** The longest key, in bytes of UTF-8: what every store's index takes. */
const longestKey = 512

/** The key as stores keep it: one that is longer than they take, or no text for all of them, by its hash. */
export const storedKey = (key: string): string =>
  Buffer.byteLength(key) > longestKey || key.includes("\0") || !isWellFormed(key) ? `sha256:${sha256(key)}` : key

// A lone surrogate has no UTF-8 of its own.
const isWellFormed = (text: string): boolean => !/\p{Surrogate}/u.test(text)
