// Written by web/build.mjs.
[
    ("app-836d7759d530.js", include_bytes!("assets/app-836d7759d530.js").as_slice()),
    ("app-e21e6d4eb0f0.css", include_bytes!("assets/app-e21e6d4eb0f0.css").as_slice()),
]
