"""Pictures and pages: heat over frames, contact sheets, GIFs, HTML. RGB throughout."""
