"""From a job to what is opened: data, inputs, metrics, plan."""
