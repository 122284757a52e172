"""The whole engine.

Revision: 0003, after 0002, made 2026-11-25.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = '0003'
down_revision = '0002'
branch_labels = None
depends_on = None

# The checks that change: table, name, before, after. Alembic does not see them.
CHECKS = [
    ("run", "status",
     "status IN ('queued', 'running', 'waiting', 'completed', 'failed', 'cancelled', 'dead')",
     "status IN ('queued', 'running', 'waiting', 'paused', 'debounced', "
     "'completed', 'failed', 'cancelled', 'dead', 'skipped')"),
    ("run", "requested", "requested IN ('cancel')", "requested IN ('cancel', 'pause')"),
    ("run", "due", "status <> 'waiting' OR due_at IS NOT NULL",
     "status NOT IN ('waiting', 'debounced') OR due_at IS NOT NULL"),
    ("worker", "kind", "kind IN ('worker', 'upkeep')", "kind IN ('worker', 'isolated', 'upkeep')"),
]


def replace_check(table, name, condition):
    """Put another check in the place of one."""
    op.drop_constraint(op.f(f"ck_{table}_{name}"), table)
    op.create_check_constraint(op.f(f"ck_{table}_{name}"), table, sa.text(condition))


def replace_due_index(condition):
    """Let the index of due runs hold those of `condition`."""
    op.drop_index('ix_run_due', table_name='run')
    op.create_index('ix_run_due', 'run', ['due_at'], unique=False, postgresql_where=sa.text(condition))


def upgrade():
    for table, name, _, after in CHECKS:
        replace_check(table, name, after)
    replace_due_index("status IN ('waiting', 'debounced')")
    op.create_table('log',
    sa.Column('run_id', sa.UUID(), nullable=False),
    sa.Column('id', sa.UUID(), nullable=False),
    sa.Column('step', sa.Text(), nullable=True),
    sa.Column('level', sa.Text(), nullable=False),
    sa.Column('message', sa.Text(), nullable=False),
    sa.Column('fields', postgresql.JSON(astext_type=sa.Text()), nullable=True),
    sa.Column('logged_at', postgresql.TIMESTAMP(timezone=True), nullable=False),
    sa.PrimaryKeyConstraint('run_id', 'id', name=op.f('pk_log'))
    )
    op.create_table('pause',
    sa.Column('workflow', sa.Text(), nullable=False),
    sa.Column('paused_at', postgresql.TIMESTAMP(timezone=True), nullable=False),
    sa.PrimaryKeyConstraint('workflow', name=op.f('pk_pause'))
    )
    op.create_table('schedule',
    sa.Column('workflow', sa.Text(), nullable=False),
    sa.Column('cron', sa.Text(), nullable=False),
    sa.Column('next_at', postgresql.TIMESTAMP(timezone=True), nullable=False),
    sa.Column('last_at', postgresql.TIMESTAMP(timezone=True), nullable=True),
    sa.Column('paused_at', postgresql.TIMESTAMP(timezone=True), nullable=True),
    sa.PrimaryKeyConstraint('workflow', name=op.f('pk_schedule'))
    )
    op.create_table('stream',
    sa.Column('run_id', sa.UUID(), nullable=False),
    sa.Column('name', sa.Text(), nullable=False),
    sa.Column('seq', sa.Integer(), nullable=False),
    sa.Column('attempt', sa.Integer(), nullable=False),
    sa.Column('text', sa.Text(), nullable=False),
    sa.Column('written_at', postgresql.TIMESTAMP(timezone=True), nullable=False),
    sa.PrimaryKeyConstraint('run_id', 'name', 'seq', name=op.f('pk_stream'))
    )
    op.create_table('wait',
    sa.Column('run_id', sa.UUID(), nullable=False),
    sa.Column('key', sa.Text(), nullable=False),
    sa.Column('topic', sa.Text(), nullable=False),
    sa.Column('kind', sa.Text(), nullable=False),
    sa.Column('status', sa.Text(), server_default='open', nullable=False),
    sa.Column('match_path', postgresql.ARRAY(sa.Text()), nullable=True),
    sa.Column('match_value', sa.Text(), nullable=True),
    sa.Column('condition', sa.Text(), nullable=True),
    sa.Column('since', postgresql.TIMESTAMP(timezone=True), nullable=False),
    sa.Column('due_at', postgresql.TIMESTAMP(timezone=True), nullable=True),
    sa.Column('event_id', sa.UUID(), nullable=True),
    sa.Column('error', sa.Text(), nullable=True),
    sa.Column('scanned_at', postgresql.TIMESTAMP(timezone=True), nullable=True),
    sa.Column('created_at', postgresql.TIMESTAMP(timezone=True), nullable=False),
    sa.CheckConstraint("kind IN ('event', 'cancel')", name=op.f('ck_wait_kind')),
    sa.CheckConstraint("status IN ('open', 'matched', 'timed-out', 'closed', 'failed')", name=op.f('ck_wait_status')),
    sa.PrimaryKeyConstraint('run_id', 'key', 'topic', name=op.f('pk_wait'))
    )
    op.create_index('ix_wait_taken', 'wait', ['run_id', 'event_id'], unique=True, postgresql_where=sa.text("kind = 'event' AND event_id IS NOT NULL"))
    op.create_index('ix_wait_topic', 'wait', ['topic', 'match_value'], unique=False, postgresql_where=sa.text("status = 'open'"))
    op.create_index('ix_wait_unscanned', 'wait', ['created_at'], unique=False, postgresql_where=sa.text("scanned_at IS NULL AND status = 'open'"))
    op.add_column('event', sa.Column('topic', sa.Text(), nullable=True))
    op.add_column('event', sa.Column('trace', sa.Text(), nullable=True))
    op.add_column('event', sa.Column('occurred_at', postgresql.TIMESTAMP(timezone=True), nullable=True))
    op.add_column('event', sa.Column('matched_at', postgresql.TIMESTAMP(timezone=True), nullable=True))
    # No run could wait before: nothing has to be looked for on behalf of the events that there are.
    op.execute("UPDATE event SET topic = coalesce(owner_id::text, '') || ':' || name, matched_at = created_at")
    op.alter_column('event', 'topic', nullable=False)
    op.create_index('ix_event_topic', 'event', ['topic', 'created_at'], unique=False)
    op.create_index('ix_event_unmatched', 'event', ['created_at'], unique=False, postgresql_where=sa.text('matched_at IS NULL'))
    op.add_column('flow', sa.Column('arrival_at', postgresql.TIMESTAMP(timezone=True), nullable=True))
    op.add_column('run', sa.Column('parent_step', sa.Text(), nullable=True))
    op.add_column('run', sa.Column('is_cancelled_with_parent', sa.Boolean(), server_default=sa.text('false'), nullable=False))
    op.add_column('run', sa.Column('singleton_key', sa.Text(), nullable=True))
    op.add_column('run', sa.Column('debounce_key', sa.Text(), nullable=True))
    op.add_column('run', sa.Column('trace', sa.Text(), nullable=True))
    op.add_column('run', sa.Column('deadline_at', postgresql.TIMESTAMP(timezone=True), nullable=True))
    op.add_column('run', sa.Column('finish_seconds', sa.Double(), nullable=True))
    op.add_column('run', sa.Column('debounce_until', postgresql.TIMESTAMP(timezone=True), nullable=True))
    op.add_column('run', sa.Column('meta', postgresql.JSON(astext_type=sa.Text()), nullable=True))
    op.create_index('ix_run_cascade', 'run', ['parent_run'], unique=False, postgresql_where=sa.text("is_cancelled_with_parent AND status IN ('queued', 'running', 'waiting', 'paused', 'debounced')"))
    op.create_index('ix_run_deadline', 'run', ['deadline_at'], unique=False, postgresql_where=sa.text("deadline_at IS NOT NULL AND status IN ('queued', 'running', 'waiting', 'paused', 'debounced')"))
    op.create_index('ix_run_debounce', 'run', ['debounce_key'], unique=True, postgresql_where=sa.text("status = 'debounced'"))
    op.create_index('ix_run_event', 'run', ['event_id'], unique=False)
    op.create_index('ix_run_finished', 'run', ['finished_at'], unique=False, postgresql_where=sa.text('finished_at IS NOT NULL'))
    op.create_index('ix_run_open', 'run', ['workflow', 'status'], unique=False, postgresql_where=sa.text("status IN ('queued', 'running', 'waiting', 'paused', 'debounced')"))
    op.create_index('ix_run_parent', 'run', ['parent_run', 'parent_step'], unique=False, postgresql_where=sa.text('parent_run IS NOT NULL'))
    op.create_index('ix_run_singleton', 'run', ['singleton_key'], unique=False, postgresql_where=sa.text("singleton_key IS NOT NULL AND status IN ('queued', 'running', 'waiting', 'paused', 'debounced')"))
    op.add_column('step', sa.Column('meta', postgresql.JSON(astext_type=sa.Text()), nullable=True))
    op.add_column('worker', sa.Column('workflows', postgresql.ARRAY(sa.Text()), nullable=True))


def downgrade():
    # The older code knows no such runs: what has not begun ends, what has stopped goes on.
    op.execute("UPDATE run SET status = 'cancelled', due_at = NULL, finished_at = engine_now() WHERE status IN ('debounced', 'skipped')")
    op.execute("UPDATE run SET status = 'queued' WHERE status = 'paused'")
    op.execute("UPDATE run SET requested = NULL WHERE requested = 'pause'")
    op.execute("DELETE FROM worker WHERE kind = 'isolated'")
    for table, name, before, _ in CHECKS:
        replace_check(table, name, before)
    replace_due_index("status = 'waiting'")
    op.drop_column('worker', 'workflows')
    op.drop_column('step', 'meta')
    op.drop_index('ix_run_singleton', table_name='run', postgresql_where=sa.text("singleton_key IS NOT NULL AND status IN ('queued', 'running', 'waiting', 'paused', 'debounced')"))
    op.drop_index('ix_run_open', table_name='run')
    op.drop_index('ix_run_parent', table_name='run', postgresql_where=sa.text('parent_run IS NOT NULL'))
    op.drop_index('ix_run_finished', table_name='run', postgresql_where=sa.text('finished_at IS NOT NULL'))
    op.drop_index('ix_run_event', table_name='run')
    op.drop_index('ix_run_debounce', table_name='run', postgresql_where=sa.text("status = 'debounced'"))
    op.drop_index('ix_run_deadline', table_name='run', postgresql_where=sa.text("deadline_at IS NOT NULL AND status IN ('queued', 'running', 'waiting', 'paused', 'debounced')"))
    op.drop_index('ix_run_cascade', table_name='run', postgresql_where=sa.text("is_cancelled_with_parent AND status IN ('queued', 'running', 'waiting', 'paused', 'debounced')"))
    op.drop_column('run', 'meta')
    op.drop_column('run', 'debounce_until')
    op.drop_column('run', 'finish_seconds')
    op.drop_column('run', 'deadline_at')
    op.drop_column('run', 'trace')
    op.drop_column('run', 'debounce_key')
    op.drop_column('run', 'singleton_key')
    op.drop_column('run', 'is_cancelled_with_parent')
    op.drop_column('run', 'parent_step')
    op.drop_column('flow', 'arrival_at')
    op.drop_index('ix_event_unmatched', table_name='event', postgresql_where=sa.text('matched_at IS NULL'))
    op.drop_index('ix_event_topic', table_name='event')
    op.drop_column('event', 'matched_at')
    op.drop_column('event', 'occurred_at')
    op.drop_column('event', 'trace')
    op.drop_column('event', 'topic')
    op.drop_index('ix_wait_unscanned', table_name='wait', postgresql_where=sa.text("scanned_at IS NULL AND status = 'open'"))
    op.drop_index('ix_wait_topic', table_name='wait', postgresql_where=sa.text("status = 'open'"))
    op.drop_index('ix_wait_taken', table_name='wait', postgresql_where=sa.text("kind = 'event' AND event_id IS NOT NULL"))
    op.drop_table('wait')
    op.drop_table('stream')
    op.drop_table('schedule')
    op.drop_table('pause')
    op.drop_table('log')
