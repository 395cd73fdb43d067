// Written by web/build.mjs.
[
    ("app-e5ab27151880.js", include_bytes!("assets/app-e5ab27151880.js").as_slice()),
    ("app-e21e6d4eb0f0.css", include_bytes!("assets/app-e21e6d4eb0f0.css").as_slice()),
]
