"""The command line. It speaks to the API over HTTP; only `up`, `down` and `demo` start anything themselves."""
