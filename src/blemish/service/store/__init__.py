"""What the station keeps: rows in a database, pictures and maps as files beside it.

    files.Files          pictures, maps and overlays, named by their content
    tables               what the rows say, as classes
    database.Database    sessions on SQLite or PostgreSQL; migrations at start
    turns                SQLite's writers, in the order of arrival
    refusals             what a database's error means to a person

An order that nothing breaks: first the files, then the rows that name them. A file without a row
harms nobody; a row without its file is a lost inspection.
"""
