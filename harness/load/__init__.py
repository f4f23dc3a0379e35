"""A service under load: MLPerf LoadGen's scenarios against the endpoint of a job, and what is said of it."""
