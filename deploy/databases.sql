-- PostgreSQL makes MLflow's database itself (POSTGRES_DB).
CREATE DATABASE dagster;
