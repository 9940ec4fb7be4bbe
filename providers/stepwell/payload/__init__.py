"""What runs on a compute target with the libraries of a step's environment.

Reading datasets into pandas or Spark, the gate and its report, the Spark driver, and the ``azureml`` names for scripts
written for the Azure ML SDK v1. Knows the runtime layer and nothing else of Stepwell: no core, no Airflow.
"""
