"""The weight of a molecule, from its structure in SMILES: RDKit comes from conda, humanize from the package index."""

import humanize
import numpy
from rdkit import Chem
from rdkit.Chem import Descriptors


class PythonPredictor:
    def __init__(self, config):
        self.digits = config["digits"]

    def predict(self, payload):
        molecule = Chem.MolFromSmiles(payload["smiles"])
        if molecule is None:
            return {"error": "this is not a structure in SMILES"}
        weight = float(numpy.round(Descriptors.MolWt(molecule), self.digits))
        return {"weight": weight, "atoms": molecule.GetNumAtoms(), "says": humanize.intcomma(weight) + " g/mol"}
