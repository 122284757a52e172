"""Other durable engines, run beside ours for comparison. They are tools of the bench only, in environments of their own."""
