"""The pack: the folder that is served. It gives the evaluation's own answers, wherever it is moved.

    pack.json      what it is (content.py): its tasks with threshold, recalibration, referral and metrics, its model,
                   and the SHA-256 of every other file
    probes.json    made-up records with the model's answers where the pack was written (probes.py)
    README.md      a card for people
    model/         the trained model as its family saves it; a LoRA adapter names its base by id and hash

Reading (read.py) knows neither report nor runs; writing (write.py) does the rest.
"""
