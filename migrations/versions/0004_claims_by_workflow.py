"""Claims by workflow: indexes that a worker walks along for the workflows it knows, and what the endings of runs need.

Revision: 0004, after 0003, made 2026-11-25.
"""

import sqlalchemy as sa
from alembic import op

revision = '0004'
down_revision = '0003'
branch_labels = None
depends_on = None


def replace_claim_indexes(*columns):
    """Let the indexes of claimable runs be sorted by `columns`."""
    for name, kind in (('ix_run_claim', ''), ('ix_run_claim_flow', 'NOT ')):
        op.drop_index(name, table_name='run')
        which = sa.text(f"status = 'queued' AND held_by IS NULL AND flow_a IS {kind}NULL")
        op.create_index(name, 'run', columns, unique=False, postgresql_where=which)


def replace_open_index(which):
    """Let the index of runs that go on tell them by `which`."""
    op.drop_index('ix_run_open', table_name='run')
    op.create_index('ix_run_open', 'run', ['workflow', 'status'], unique=False, postgresql_where=sa.text(which))


def upgrade():
    replace_claim_indexes('workflow', 'sort_at', 'id')
    op.add_column('run', sa.Column('hook', sa.Text(), nullable=True))
    op.create_index('ix_run_unheeded', 'run', ['deadline_at'], unique=False, postgresql_where=sa.text("status = 'queued' AND requested = 'cancel'"))
    replace_open_index('finished_at IS NULL')
    op.create_index('ix_wait_event', 'wait', ['event_id'], unique=False, postgresql_where=sa.text('event_id IS NOT NULL'))


def downgrade():
    op.drop_index('ix_wait_event', table_name='wait', postgresql_where=sa.text('event_id IS NOT NULL'))
    op.drop_index('ix_run_unheeded', table_name='run', postgresql_where=sa.text("status = 'queued' AND requested = 'cancel'"))
    op.drop_column('run', 'hook')
    replace_open_index("status IN ('queued', 'running', 'waiting', 'paused', 'debounced')")
    replace_claim_indexes('sort_at', 'id')
