"""What one SDK computes and the other checks: `python.json` made here, `typescript.json` in the browser's."""
