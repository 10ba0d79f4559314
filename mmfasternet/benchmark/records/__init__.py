"""What was measured, where and with what: the JSON files that tables, plots and pages are drawn from."""

from .machine import describe_machine
from .outcome import save_outcome
from .private import without_secrets
from .records import Records, read_json
from .schema import SCOPES, schema_page

__all__ = ['SCOPES', 'Records', 'describe_machine', 'read_json', 'save_outcome', 'schema_page', 'without_secrets']
