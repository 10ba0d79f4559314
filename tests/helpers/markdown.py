"""Tables of a Markdown page, to be compared by their cells."""

__all__ = ['tables']


def tables(page: str) -> list[list[list[str]]]:
    """The tables of a page in their order: lines of cells, the head first and the rule below it left out."""
    found: list[list[list[str]]] = []
    before = ''
    for line in page.splitlines():
        if line.startswith('|'):
            if not before.startswith('|'):
                found.append([])
            cells = [cell.strip() for cell in line.strip('|').replace('\\|', '\0').split('|')]
            if not all(set(cell) <= set('-: ') and cell for cell in cells):
                found[-1].append([cell.replace('\0', '\\|') for cell in cells])
        before = line
    return found
