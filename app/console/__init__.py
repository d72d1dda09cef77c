"""The web console: its templates and static files, and what its sign-in needs beside Flask."""
