// Asks for a token where the hub requires one.

import { useState } from "preact/hooks";
import { Client } from "../client.ts";

export function TokenPrompt({ wasRefused, done }: { wasRefused: boolean; done(): void }) {
  const [token, setToken] = useState("");
  const submit = (event: Event): void => {
    event.preventDefault();
    if (token.trim() === "") return;
    Client.keepToken(token.trim());
    done();
  };
  return (
    <main class="token">
      <form onSubmit={submit}>
        <h1>This hub requires a token</h1>
        <p>
          It is kept until this tab is closed, and sent to this hub only. A token of the role “observe” is
          enough.
        </p>
        <label for="token">Token</label>
        <input
          id="token"
          type="password"
          autocomplete="off"
          spellcheck={false}
          value={token}
          aria-invalid={wasRefused}
          aria-describedby={wasRefused ? "refused" : undefined}
          onInput={(event) => setToken(event.currentTarget.value)}
        />
        {wasRefused && (
          <p id="refused" class="notice trouble" role="alert">
            The hub does not accept this token.
          </p>
        )}
        <button type="submit" class="primary">
          Continue
        </button>
      </form>
    </main>
  );
}
