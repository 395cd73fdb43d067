// Written by web/build.mjs.
[
    ("app-d8f208d1c9f8.js", include_bytes!("assets/app-d8f208d1c9f8.js").as_slice()),
    ("app-e21e6d4eb0f0.css", include_bytes!("assets/app-e21e6d4eb0f0.css").as_slice()),
]
