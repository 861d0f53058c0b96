"""What people and CI systems read: HTML pages, plots, Markdown, JUnit and benchmark JSON. Nothing is decided here."""
