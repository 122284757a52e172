"""What the tables stand on: pgvector, and the engine's clock.

Revision: 0001, the first.
"""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# The database's clock is the only clock of the engine; only tests move it, by a setting.
ENGINE_NOW = """
CREATE OR REPLACE FUNCTION engine_now() RETURNS timestamptz LANGUAGE sql VOLATILE AS $$
  SELECT clock_timestamp()
    + coalesce(nullif(current_setting('throughline.clock_offset', true), '')::interval, interval '0')
$$
"""


def upgrade():
    op.execute("CREATE EXTENSION IF NOT EXISTS vector")
    op.execute(ENGINE_NOW)


def downgrade():
    op.execute("DROP FUNCTION engine_now")
    # The extension stays: other tables of this database may use it.
