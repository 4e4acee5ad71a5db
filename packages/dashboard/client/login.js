/** The token by the form, or after a # in the address: that part is not sent with a request, and is taken away at once. */
if (location.search === "?wrong") {
  const wrong = document.querySelector("#wrong")
  if (wrong !== null) wrong.textContent = "That is not the token."
}

const input = document.querySelector("input")
const token = new URLSearchParams(location.hash.slice(1)).get("token")
history.replaceState(null, "", "/")
if (input !== null && token !== null) {
  input.value = token
  input.form?.submit()
}
