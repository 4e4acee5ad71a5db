import * as Crypto from "node:crypto"

// UTF-16, so that texts which differ only in lone surrogates differ.
export const sha256 = (text: string): string => Crypto.createHash("sha256").update(text, "utf16le").digest("base64url")
