// Written by web/build.mjs.
[
    ("app-cdecd658d06a.js", include_bytes!("assets/app-cdecd658d06a.js").as_slice()),
    ("app-e21e6d4eb0f0.css", include_bytes!("assets/app-e21e6d4eb0f0.css").as_slice()),
]
