"""Reports: HTML pages, plots, Markdown, JUnit XML and benchmark JSON. They show verdicts and decide nothing."""
