"""Rows to what people read: tables now; plots and pages to come. Reads runs, never models."""
