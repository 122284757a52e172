"""The video library: versions of transcripts, outlines, renditions, share links, digests, and a person's own limits.

Revision: 0005, after 0004, made 2026-11-26.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = '0005'
down_revision = '0004'
branch_labels = None
depends_on = None


# The checks that change: table, name, before (none: it is new), after. Alembic does not see them.
CHECKS = [
    ("transcript", "source", "source IN ('model', 'captions')",
     "source IN ('model', 'captions', 'edit', 'import', 'restore')"),
    ("video", "rendition_status", None, "rendition_status IN ('making', 'ready', 'failed')"),
]


def replace_check(table, name, condition, *, had_one):
    """Put another check in the place of one, if there was one."""
    if had_one:
        op.drop_constraint(op.f(f"ck_{table}_{name}"), table)
    op.create_check_constraint(op.f(f"ck_{table}_{name}"), table, sa.text(condition))


# The words of a chunk: before, and with its owner as one more of them.
SEARCH_BEFORE = "to_tsvector('simple', search_text)"
SEARCH = SEARCH_BEFORE + " || array_to_tsvector(ARRAY['o' || replace(owner_id::text, '-', '')])"


def replace_search(expression):
    """Compute the words of all chunks anew; this and the index of their vectors take a minute for 20,000 chunks."""
    op.drop_index('ix_chunk_search', table_name='chunk')
    op.drop_column('chunk', 'search')
    op.add_column('chunk', sa.Column('search', postgresql.TSVECTOR(), sa.Computed(expression, persisted=True), nullable=False))
    op.create_index('ix_chunk_search', 'chunk', ['search'], unique=False, postgresql_using='gin')


def upgrade():
    op.create_table('notice',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('owner_id', sa.Uuid(), nullable=False),
    sa.Column('video_id', sa.Uuid(), nullable=False),
    sa.Column('run_id', sa.Uuid(), nullable=False),
    sa.Column('kind', sa.String(length=20), nullable=False),
    sa.Column('error', sa.Text(), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('sent_at', sa.DateTime(timezone=True), nullable=True),
    sa.CheckConstraint("kind IN ('ready', 'failed')", name=op.f('ck_notice_kind')),
    sa.ForeignKeyConstraint(['owner_id'], ['user.id'], name=op.f('fk_notice_owner_id_user'), ondelete='CASCADE'),
    sa.ForeignKeyConstraint(['video_id'], ['video.id'], name=op.f('fk_notice_video_id_video'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_notice')),
    sa.UniqueConstraint('run_id', 'kind', name=op.f('uq_notice_run_id_kind'))
    )
    op.create_index('ix_notice_unsent', 'notice', ['owner_id'], unique=False, postgresql_where=sa.text('sent_at IS NULL'))
    op.create_index(op.f('ix_notice_video_id'), 'notice', ['video_id'], unique=False)
    op.create_table('outline',
    sa.Column('video_id', sa.Uuid(), nullable=False),
    sa.Column('transcript_id', sa.Uuid(), nullable=False),
    sa.Column('title', sa.String(length=300), nullable=False),
    sa.Column('summary', sa.Text(), nullable=False),
    sa.Column('chapters', postgresql.JSONB(astext_type=sa.Text()), nullable=False),
    sa.Column('model', sa.String(length=100), nullable=False),
    sa.Column('run_id', sa.Uuid(), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['video_id'], ['video.id'], name=op.f('fk_outline_video_id_video'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('video_id', name=op.f('pk_outline'))
    )
    op.create_table('share',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('owner_id', sa.Uuid(), nullable=False),
    sa.Column('video_id', sa.Uuid(), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('revoked_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('visits', sa.Integer(), nullable=False),
    sa.Column('last_visit_at', sa.DateTime(timezone=True), nullable=True),
    sa.ForeignKeyConstraint(['owner_id'], ['user.id'], name=op.f('fk_share_owner_id_user'), ondelete='CASCADE'),
    sa.ForeignKeyConstraint(['video_id'], ['video.id'], name=op.f('fk_share_video_id_video'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_share'))
    )
    op.create_index('uq_share_video_open', 'share', ['video_id'], unique=True, postgresql_where=sa.text('revoked_at IS NULL'))
    op.add_column('transcript', sa.Column('base_id', sa.Uuid(), nullable=True))
    op.add_column('transcript', sa.Column('note', sa.String(length=300), server_default='', nullable=False))
    op.add_column('user', sa.Column('budget_microusd', sa.BigInteger(), nullable=True))
    op.add_column('user', sa.Column('storage_quota_bytes', sa.BigInteger(), nullable=True))
    op.add_column('video', sa.Column('text_tracks', postgresql.JSONB(astext_type=sa.Text()), server_default='[]', nullable=False))
    op.add_column('video', sa.Column('rendition_status', sa.String(length=20), nullable=True))
    op.add_column('video', sa.Column('rendition_key', sa.String(length=300), nullable=True))
    op.add_column('video', sa.Column('rendition_type', sa.String(length=100), nullable=True))
    op.add_column('video', sa.Column('rendition_bytes', sa.BigInteger(), server_default='0', nullable=False))
    op.add_column('video', sa.Column('rendition_error', sa.Text(), nullable=True))
    op.add_column('video', sa.Column('changed_at', sa.DateTime(timezone=True), nullable=True))
    op.execute("UPDATE video SET changed_at = status_changed_at")
    op.alter_column('video', 'changed_at', nullable=False)
    for table, name, before, after in CHECKS:
        replace_check(table, name, after, had_one=before is not None)
    op.create_index('ix_video_deleted', 'video', ['owner_id'], unique=False, postgresql_where=sa.text('deleted_at IS NOT NULL'))
    # A vector beside the row is fetched by two more reads each; set before the table is written anew below.
    op.execute("ALTER TABLE chunk ALTER COLUMN embedding SET STORAGE PLAIN")
    op.execute("UPDATE chunk SET search_text = replace(replace(search_text, 'œ', 'oe'), 'æ', 'ae') WHERE search_text ~ '[œæ]'")
    replace_search(SEARCH)
    op.execute("SET LOCAL maintenance_work_mem = '512MB'")
    op.create_index(
        'ix_chunk_embedding', 'chunk', ['embedding'], unique=False, postgresql_using='hnsw',
        postgresql_ops={'embedding': 'halfvec_cosine_ops'}, postgresql_where=sa.text('is_served'),
    )


def downgrade():
    op.drop_index('ix_chunk_embedding', table_name='chunk')
    op.drop_index('ix_video_deleted', table_name='video', postgresql_where=sa.text('deleted_at IS NOT NULL'))
    op.execute("ALTER TABLE chunk ALTER COLUMN embedding SET STORAGE EXTERNAL")
    replace_search(SEARCH_BEFORE)
    op.execute("UPDATE transcript SET source = 'captions' WHERE source NOT IN ('model', 'captions')")
    for table, name, before, _after in CHECKS:
        if before is not None:
            replace_check(table, name, before, had_one=True)
    op.drop_column('video', 'changed_at')
    op.drop_column('video', 'rendition_error')
    op.drop_column('video', 'rendition_bytes')
    op.drop_column('video', 'rendition_type')
    op.drop_column('video', 'rendition_key')
    op.drop_column('video', 'rendition_status')
    op.drop_column('video', 'text_tracks')
    op.drop_column('user', 'storage_quota_bytes')
    op.drop_column('user', 'budget_microusd')
    op.drop_column('transcript', 'note')
    op.drop_column('transcript', 'base_id')
    op.drop_index('uq_share_video_open', table_name='share', postgresql_where=sa.text('revoked_at IS NULL'))
    op.drop_table('share')
    op.drop_table('outline')
    op.drop_index(op.f('ix_notice_video_id'), table_name='notice')
    op.drop_index('ix_notice_unsent', table_name='notice', postgresql_where=sa.text('sent_at IS NULL'))
    op.drop_table('notice')
