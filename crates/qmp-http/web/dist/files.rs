// Written by web/build.mjs.
[
    ("app-2329d16a630c.js", include_bytes!("assets/app-2329d16a630c.js").as_slice()),
    ("app-e21e6d4eb0f0.css", include_bytes!("assets/app-e21e6d4eb0f0.css").as_slice()),
]
