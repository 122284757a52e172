"""Runs: the door to the engine's console.

Owns the table `audit_entry`, the pages under `/runs`, `/api/runs/<id>`, the live topics `run:<id>` and
`runs:<owner id>/list`, and the RQ dashboard at `/admin/rq`. A person sees the runs they own. Administrators see all
as metadata; what a run was given and made (input, output, texts of errors) they see only after "Show contents",
which is written down.
"""
